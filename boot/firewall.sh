sudo ufw allow 5000/tcp comment 'pyraface: images'
sudo ufw allow 5001/udp comment 'pyraface: discovery'
sudo ufw allow 5002/tcp comment 'pyraface: pairing'
sudo ufw allow 5002/udp comment 'pyraface: pairing'
